# docker buildx bake                                          the image for this machine
# PLATFORMS=linux/amd64,linux/arm64 docker buildx bake        for both, with a builder that can hold them (--push)
variable "TAG" {
  default = "weft:0.1.0"
}
variable "PROFILE" {
  default = "dist"
}
variable "COMMIT" {
  default = ""
}
variable "PLATFORMS" {
  default = ""
}

group "default" {
  targets = ["weft"]
}

target "weft" {
  context   = "."
  tags      = [TAG]
  platforms = PLATFORMS == "" ? [] : split(",", PLATFORMS)
  args = {
    PROFILE = PROFILE
    COMMIT  = COMMIT
  }
}
